from . import agent
from . import audit
from . import download
from . import evidence
from . import github
from . import mail
