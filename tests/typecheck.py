"""The type checker that the tests put on every function of the packages."""

from beartype import BeartypeConf, beartype

# an int is a float here, as everywhere in Python's type system
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
