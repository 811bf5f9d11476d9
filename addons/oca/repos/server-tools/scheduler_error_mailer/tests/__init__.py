from . import test_scheduler_error_mailer
