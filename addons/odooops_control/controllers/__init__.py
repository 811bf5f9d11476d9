from . import agent
from . import audit
from . import github
from . import mail
