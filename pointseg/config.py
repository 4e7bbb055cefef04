"""From yaml to objects: constructors are the schema.

A node with `_target_` is built by calling what it names with the node's other keys. Facts that only
arise while a run is built (number of classes, counts of the drawn points, …) are handed over by name
to whatever asks for them.
"""

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pointseg.errors import InputError, reading
from pointseg.moves import migrated

_HERE = Path(__file__).parent
# A wheel carries conf/ inside the package; in a checkout it lies beside it.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"

Node = Mapping[str, Any]

TOWER = BeartypeConf(is_pep484_tower=True)  # a whole number is a number

GROUPS = ("dataset", "annotation", "sampler", "loss", "model", "optimizer", "schedule")
"""Groups of options that decide what a run gives."""


@dataclass(frozen=True)
class TrainConfig:
    """The top level of conf/train.yaml; its comments say what each key means."""

    dataset: Node
    annotation: Node
    sampler: Node
    loss: Node
    model: Node
    optimizer: Node
    schedule: Node | None
    trainer: Node
    crops: Node
    augment: Node
    seed: int
    budget: int | float
    points: str | list[str] | None
    crop_size: int
    overlap: int
    batch_size: int
    num_workers: int | None
    compile: bool
    resume: bool = False  # runs kept before there were these keys have none
    flips: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for numbers with which no run can be trained, before anything is read."""
        check_budget(self.budget)
        if self.crop_size < 1:
            raise InputError(f"crop_size={self.crop_size}: give the side of the crops, in pixels.")
        if not 0 <= self.overlap < self.crop_size:
            raise InputError(f"overlap={self.overlap}: give 0 to {self.crop_size - 1} pixels, less than crop_size.")
        epochs = self.trainer.get("max_epochs")
        for key, value, least in (
            ("seed", self.seed, 0),
            ("batch_size", self.batch_size, 1),
            ("num_workers", self.num_workers, 0),
            ("trainer.max_epochs", 1 if epochs == -1 else epochs, 1),  # -1: until it is stopped
        ):
            if isinstance(value, int) and value < least:
                raise InputError(f"{key}={value}: give a whole number from {least} on.")


def check_budget(budget: int | float) -> None:
    """Raises InputError for what is neither a number of points nor a fraction."""
    if isinstance(budget, float) and not 0 < budget <= 1:
        raise InputError(
            f"budget={budget}: a fraction of the labelled pixels lies in (0, 1]; for a number of points per scene "
            "give a whole number, as in budget=100."
        )
    if budget <= 0:
        raise InputError(f"budget={budget}: give at least 1 point per scene, or a fraction such as budget=0.01.")


# What runs.build adds to a node by name, so that yaml need not hold it.
FACTS = frozenset(
    (
        *("annotation", "sampler", "budget", "seed", "accelerator"),
        *("points", "bands", "crop_size", "classes", "counts"),
        *("params", "optimizer", "logger", "callbacks", "default_root_dir"),
        *("total_steps", "T_max", "total_iters", "max_lr"),  # of torch's schedules
    )
)


_TRUSTED = (
    *(f"pointseg.{part}." for part in ("datasets", "imagery.augment", "imagery.crops", "losses", "models", "samplers")),
    *("pointseg.annotation.drawn.", "pointseg.annotation.given.", "pointseg.suggestions.annotator."),
    *("torch.optim.", "lightning.Trainer", "lightning.pytorch.trainer."),
)
TRUST = "POINTSEG_TRUST"
"""The variable that names further packages, separated by commas. Not a key: a configuration may be somebody else's."""


def parse(cfg: DictConfig) -> TrainConfig:
    """The composed configuration, checked key by key before anything is built.

    Hydra refuses unknown keys unless they are added with `+`; this refuses those too. Raises InputError.
    """
    content = _resolved(cfg)
    known = [field.name for field in fields(TrainConfig)]
    for key in content:
        if key not in known:
            raise InputError(_unknown(str(key), known, "the configuration"))
    return TrainConfig(**_checked(content, known))


def read(file: Path) -> DictConfig:
    """A run's config.yaml, in today's names (see `moves`). Raises InputError where it is damaged."""
    with reading(file, "a configuration", "restore the file, or train anew."):
        content = OmegaConf.load(file)
    if not isinstance(content, DictConfig):
        raise InputError(f"{file}: holds no keys; restore the file, or train anew.")
    stored: Any = OmegaConf.to_container(content)
    return OmegaConf.create(migrated(stored))


def values(cfg: DictConfig, *keys: str) -> dict[str, Any]:
    """These keys of a configuration, checked as `parse` does, whatever the others hold."""
    return _checked(_resolved(cfg), keys)


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        # Not chained: Hydra would print OmegaConf's words a second time.
        raise InputError(f"{error.full_key}: {str(error).splitlines()[0]}; the group's yaml says what it is.") from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _checked(content: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(TrainConfig) if field.default is not MISSING}
    content = {key: (defaults | content)[key] for key in keys if key in defaults | content}
    for key, hint in get_type_hints(TrainConfig).items():
        if key in keys:
            if key not in content:
                raise InputError(f"{key}: missing from the configuration; conf/train.yaml has its default.")
            _check_value(key, content[key], hint)
            if isinstance(content[key], dict):
                _check_node(key, content[key])
    return content


def _check_node(where: str, node: Node) -> None:
    if "_target_" not in node:
        raise InputError(f"{where}: has no _target_; choose an option of the group, as in {where}=<option>.")
    target = _target(node, where)
    parameters = _parameters(target)
    for key in node.keys() - {"_target_"}:
        if key not in parameters:
            raise InputError(_unknown(f"{where}.{key}", parameters, node["_target_"]))
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    if absent := required - node.keys() - FACTS:
        raise InputError(f"{where}.{sorted(absent)[0]}: missing; {node['_target_']} needs it.")
    hints = _hints(target)
    for key in node.keys() & hints.keys():
        _check_value(f"{where}.{key}", node[key], hints[key])


def _check_value(where: str, value: object, hint: Any) -> None:
    # Whole numbers are numbers (PEP 484), but a truth value is not a whole number.
    numeric = hint in (int, float, int | float, int | None)
    if not is_bearable(value, hint, conf=TOWER) or (numeric and isinstance(value, bool)):
        wanted = getattr(hint, "__name__", None) if inspect.isclass(hint) else None
        if get_origin(hint) is Literal:
            wanted = ", ".join(map(str, get_args(hint)))
        advice = "" if "." in where else "; conf/train.yaml says what it is"
        raise InputError(f"{where}={value}: expected {wanted or str(hint).replace('typing.', '')}{advice}.")


def _ours(target: Any) -> bool:
    return bool(target.__module__.startswith("pointseg."))


def _hints(target: Any) -> dict[str, Any]:
    """What values it takes; only this package's signatures say so."""
    return get_type_hints(target.__init__ if inspect.isclass(target) else target) if _ours(target) else {}


def _unknown(where: str, known: Iterable[str], owner: str) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(where.rpartition(".")[2], known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{where}: {owner} has no such key; {hint}It has: {', '.join(known)}."


def _parameters(target: Any) -> dict[str, inspect.Parameter]:
    """The parameters that have a name of their own."""
    anonymous = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in inspect.signature(target).parameters.items() if p.kind not in anonymous}


def _target(node: Node, where: str = "configuration") -> Any:
    """What the node's `_target_` names. Raises InputError unless it is of a package that is trusted.

    Both the name, before it is imported, and what it leads to are looked at: a module's own imports have
    names under it too, as in pointseg.datasets.folder.os.system.
    """
    name = str(node["_target_"])
    trusted = (*_TRUSTED, *(f"{package}." for package in os.environ.get(TRUST, "").split(",") if package))
    if name.startswith(trusted):
        try:
            target = get_object(name)
        except Exception as error:  # importing a user's module can raise anything
            raise InputError(f"{where}._target_={name}: cannot be imported ({error}).") from error
        if f"{getattr(target, '__module__', '')}.".startswith(trusted) and callable(target):
            return target
    raise InputError(
        f"{where}._target_={name}: is of none of the packages that a configuration may call "
        f"({', '.join(package.rstrip('.') for package in trusted)}). If you trust it, name its package in ${TRUST}."
    )


def construct(node: Node, **facts: Any) -> Any:
    """Call the node's `_target_` with the node's keys and those of `facts` that it has a parameter for.

    What the yaml says wins over a fact. Raises InputError where a class of a library refuses the values, or one of
    another group wants facts that are not there.
    """
    target = _target(node)
    parameters = _parameters(target)
    given = {key: value for key, value in node.items() if key != "_target_"}
    arguments = {key: value for key, value in facts.items() if key in parameters} | given
    if absent := [key for key, p in parameters.items() if p.default is p.empty and key not in arguments]:
        raise InputError(
            f"{node['_target_']}: needs {absent[0]}, which is not known here; is it an option of this group?"
        )
    _check_facts(target, {key: facts[key] for key in facts.keys() & arguments.keys() - given.keys()})
    try:
        return target(**arguments)
    except Exception as error:  # a library's class refuses values in words of its own
        if isinstance(error, InputError) or _ours(target):
            raise
        raise InputError(f"{node['_target_']}: {error} It was given {given}.") from error


def _check_facts(target: Any, facts: Mapping[str, Any]) -> None:
    """Raise InputError where one group's option cannot work with what another's has made."""
    hints = _hints(target)
    for key in facts.keys() & hints.keys():
        if inspect.isclass(hints[key]) and not is_bearable(facts[key], hints[key], conf=TOWER):
            raise InputError(
                f"{target.__module__}.{target.__qualname__}: needs {key}={hints[key].__name__.lower()}, not "
                f"{type(facts[key]).__name__.lower()}; choose that option of the group {key}."
            )


def check_keys(cfg: DictConfig, command: str) -> None:
    """Raise InputError for a key that conf/<command>.yaml does not have, as Hydra lets `+key` pass, or wants."""
    file = CONF / f"{command}.yaml"
    content = OmegaConf.load(file)
    entries = [key for entry in content.defaults if OmegaConf.is_dict(entry) for key in entry]
    groups = {key for key in entries if not str(key).startswith("override ")}  # Hydra's own
    known = (content.keys() | groups) - {"defaults", "hydra"}
    for key in cfg:
        if key not in known:
            raise InputError(_unknown(str(key), [str(name) for name in known], f"conf/{command}.yaml"))
        if OmegaConf.is_missing(cfg, key):
            usage = file.read_text().splitlines()[0].lstrip("# ")
            raise InputError(f"{key!s}: missing; give it, as in {usage}")
        if cfg[key] == "":
            raise InputError(f"{key!s}=: is empty; give it a value, or leave it out.")


def takes(node: Node, fact: str) -> bool:
    """Whether the node's `_target_` has a parameter of that name."""
    return fact in _parameters(_target(node))
