"""A pytest plugin: jaxtyping checks every shape and type in pointseg's signatures while the tests run."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
install_import_hook("pointseg", "tests.shapes.checker")
