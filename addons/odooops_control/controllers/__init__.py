from . import agent
from . import github
from . import mail
