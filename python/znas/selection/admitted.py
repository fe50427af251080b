"""What `znas.admitted` holds, under the name of before."""

from znas.admitted import TRIES as TRIES
from znas.admitted import admitted as admitted
