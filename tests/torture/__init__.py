"""`make torture`: inputs, kills and machines that nobody wishes for, counted in one table.

Whatever is tried ends in one of three ways: *right* (what an untroubled run gives, or a value that an
independent reading confirms), *refused* in one line, or *wrong*, of which there must be none.
"""
