from . import workshop_order
