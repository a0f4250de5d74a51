"""What `wp.nn` promises: its names, their docstrings."""

import inspect

import wyrm_py as wp
from wyrm_py import nn


def own(module):
    """Return the public names that a module holds or defines."""
    held = {k: v for k, v in vars(module).items() if not k.startswith("_")}
    if module is nn:
        return {k: v for k, v in held.items() if inspect.isclass(v)}
    return {
        k: v
        for k, v in held.items()
        if inspect.isfunction(v) and v.__module__ == module.__name__
    }


def test_all_names_of_nn_are_listed():
    assert wp.nn is nn
    assert {*own(nn), "initialisers", "losses"} == set(nn.__all__)


def test_all_public_names_of_nn_have_docstrings():
    bare = []
    for module in (nn, nn.losses, nn.initialisers):
        for name, held in own(module).items():
            bare += [] if held.__doc__ else [name]
            members = vars(held) if inspect.isclass(held) else ()
            bare += [
                f"{name}.{member}"
                for member in members
                if inspect.isfunction(members[member])
                and not member.startswith("_")
                and not inspect.getdoc(getattr(held, member))
            ]
    assert bare == []


def test_every_layer_is_a_layer_and_every_loss_takes_a_reduction():
    assert all(issubclass(kind, nn.Layer) for kind in own(nn).values())
    for name, loss in own(nn.losses).items():
        assert inspect.signature(loss).parameters["reduction"].default == "mean", name
