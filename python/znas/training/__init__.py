"""Training of what a search found, by Lightning: recipes as data, checkpoints without pickle, one table.

trained = znas.train("runs/first", data_dir="data", recipe="quick")
trained.save("runs/first-trained")
"""
