"""Networks that average the outputs of several members, which are trained separately with consecutive seeds.

The members are branches of one network: each has its own recurrent layers, whose names begin with its prefix, and all
share the stages before and after them and the linear part. The average of the members' linear parts is the linear part
with the average of their weights, so that the network equals the average of the members.
"""

import re
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

# Names of the layers that average the outputs of the members.
MEMBER_SUM, MEMBER_MEAN = "member_sum", "member_mean"

_PREFIX = re.compile(r"member_([0-9]+)_")


def average_members(build: Callable[[str], keras.KerasTensor], count: int) -> keras.KerasTensor:
    """Return the average of the outputs of `count` members; of one member, its output.

    Args:
        build: function that builds the layers of a member, whose names begin with the given prefix, and returns its
            output. The prefix of a single member is empty.
        count: number of members.
    """
    if count == 1:
        return build("")
    outputs = [build(f"member_{number}_") for number in range(1, count + 1)]
    return layers.Rescaling(1 / count, name=MEMBER_MEAN)(layers.Add(name=MEMBER_SUM)(outputs))


def member_of(layer: keras.Layer) -> int:
    """Return the number of the member that a layer belongs to, from 1; 0 if all members share it."""
    match = _PREFIX.match(layer.name)
    return int(match[1]) if match else 0


def assign_members(network: keras.Model, members: Sequence[keras.Model]) -> None:
    """Assign the weights of trained members to a network of as many members.

    Args:
        network: the network; changed in place.
        members: networks with a single member each, in order.
    """
    for layer in network.layers:
        number, name = member_of(layer), _PREFIX.sub("", layer.name, count=1)
        if not layer.variables:
            continue
        sources = [member.get_layer(name).variables for member in (members[number - 1 : number] if number else members)]
        for variable, *values in zip(layer.variables, *sources, strict=True):
            # The mean of equal values in double precision is exact.
            mean = np.mean(np.stack(values), axis=0, dtype=np.float64) if len(values) > 1 else values[0]
            variable.assign(mean)
