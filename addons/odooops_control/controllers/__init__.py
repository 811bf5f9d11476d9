from . import agent
from . import audit
from . import download
from . import github
from . import mail
