from . import agent_enrol
from . import approval_wizard
from . import ci_access
from . import deploy_wizard
from . import key_show
from . import restore_wizard
