from . import agent
from . import github
