from .comparison import compare_members as compare_members
from .comparison import validate as validate
from .report import Validation as Validation
