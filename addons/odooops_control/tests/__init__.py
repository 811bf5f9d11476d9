from . import test_agent_routes
from . import test_journey
