"""Rotary positions as config.json describes them, in the ways that transformers 4 and 5 do.

    rope_parameters {rope_theta, rope_type, factor, …}              transformers 5
    rope_parameters {"full_attention": {…}, …}                      where layers differ
    rope_theta, rope_scaling {type, factor, …}, partial_rotary_factor, …    transformers 4

Every key is read, or known not to matter, or refused.

Not for: what a model does of its own accord (``architectures``). Costs: nothing; the tables are those of ``rotary``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from foreword.embeddings.architectures import Rotary
from foreword.embeddings.rotary import Layout, RotaryByLayer, RotaryPositions
from foreword.embeddings.scaling import RotaryScaling
from foreword.errors import ArgumentError

__all__ = ["rotary_from"]

_COMMON = frozenset({"rope_theta", "rope_type", "type", "partial_rotary_factor", "mrope_section", "mrope_interleaved"})
_NUMBERS: dict[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor", "alpha"}),
    "yarn": frozenset(
        {"factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"}
        # and two that don't change the turn
        | {"original_max_position_embeddings", "max_position_embeddings", "llama_4_scaling_beta"}
    ),
    "longrope": frozenset(
        {"factor", "attention_factor", "short_factor", "long_factor", "original_max_position_embeddings"}
    ),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}),
    "proportional": frozenset({"factor"}),
}


def rotary_from(
    config: Mapping[str, Any], rotary: Rotary, T: int, D: int, device: torch.device | str, where: str
) -> RotaryPositions | RotaryByLayer:
    """How the model's queries and keys turn.

    Args:
        config: config.json, or its text_config.
        rotary: what is known of the model.
        T: context_length.
        D: of the token table.
        device: of the tables.
        where: the file's name, for errors.

    Raises:
        ArgumentError: parameters of a kind that Foreword doesn't have, or that aren't there.
        KeyError, TypeError, AttributeError: config.json isn't what it should be.
    """
    reader = _Reader(config, rotary, T, D, device, where)
    match rotary.layers:
        case "all":
            return reader.positions(reader.flat())
        case "by type":
            return reader.by_type()
        case "layer_rope_theta":
            return reader.by_theta()
        case _:
            turning = reader.turning()
            positions = reader.positions(reader.flat())
            return positions if all(turning) else RotaryByLayer({"turning": positions}, turning)


class _Reader:
    """Reads one config.json."""

    def __init__(
        self, config: Mapping[str, Any], rotary: Rotary, T: int, D: int, device: torch.device | str, where: str
    ) -> None:
        self.config, self.rotary, self.T, self.device, self.where = config, rotary, T, device, where
        heads: Any = next(
            (config[key] for key in ("num_attention_heads", "n_head", "n_heads") if config.get(key)), None
        )
        head_dim = config.get(rotary.head_dim_key) or rotary.head_dim
        if head_dim is None and heads is None:
            raise self.refused("num_attention_heads", None, "config.json doesn't say how many dimensions a head has")
        self.head_dim: int = head_dim or D // heads

    def refused(self, key: str, value: object, says: str = "") -> ArgumentError:
        return ArgumentError(
            says or f"rotary positions of a kind that Foreword doesn't have: {key}",
            got=f"{key} = {value!r}",
            where=self.where,
            fix='pass position="none", or a RotaryPositions of your own',
        )

    def flat(self) -> dict[str, Any]:
        """The parameters of a model that has one set of them."""
        config, rotary = self.config, self.rotary
        given = config.get("rope_scaling") or config.get("rope_parameters") or {}
        if not given and rotary.explicit:
            raise self.refused("rope_parameters", None, "config.json doesn't give the parameters of rotary positions")
        theta, partial = config.get(rotary.theta_key, rotary.theta), config.get(rotary.share_key, rotary.partial)
        for key, used in (("rope_theta", theta), ("partial_rotary_factor", partial)):
            if key not in (rotary.theta_key, rotary.share_key) and config.get(key, used) != used:
                raise self.refused(key, config[key])  # transformers passes over it
        found = {"rope_theta": theta, **given}
        if rotary.partial_key and config.get(rotary.partial_key) is not None:
            partial = config.get("partial_rotary_factor", config[rotary.partial_key] / self.head_dim)
        elif rotary.partial_key and rotary.partial is None:
            raise self.refused(rotary.partial_key, config.get(rotary.partial_key))
        if partial is not None:
            found.setdefault("partial_rotary_factor", partial)
        if "original_max_position_embeddings" in config and self.kind(found) in ("llama3", "yarn", "longrope"):
            found["original_max_position_embeddings"] = config["original_max_position_embeddings"]
        return found

    def kind(self, found: Mapping[str, Any]) -> str:
        kind = found.get("rope_type") or found.get("type") or "default"
        allowed = self.rotary.kinds
        if kind not in _NUMBERS or (allowed is not None and kind not in allowed):
            raise ArgumentError(
                "rotary scaling of a kind that Foreword doesn't have",
                got=repr(kind),
                expected=", ".join(map(repr, _NUMBERS if allowed is None else allowed)),
                where=self.where,
                fix='pass position="none", or a RotaryPositions of your own',
            )
        return str(kind)

    def positions(self, found: Mapping[str, Any]) -> RotaryPositions:
        """The positions that a set of parameters describes."""
        kind = self.kind(found)
        for key, value in found.items():
            if value is not None and key not in _COMMON and key not in _NUMBERS[kind]:
                raise self.refused(key, value)
        rotary_dim, share = self.head_dim, found.get("partial_rotary_factor") or 1.0
        if kind == "proportional":
            pass  # a share of the pairs, not of the head
        elif share != 1.0 or self.rotary.partial is not None or self.rotary.partial_key:
            if self.rotary.partial is None and not self.rotary.partial_key:
                raise self.refused("partial_rotary_factor", share)
            rotary_dim = int(self.head_dim * share)
            if rotary_dim < 2 or rotary_dim % 2:
                raise self.refused("partial_rotary_factor", share)
        return RotaryPositions(
            self.T,
            self.head_dim,
            base=found["rope_theta"],
            layout=self.layout(),
            reverse=self.rotary.reverse,
            rotary_dim=rotary_dim if rotary_dim < self.head_dim else None,
            scaling=self.scaling(kind, found),
            device=self.device,
        )

    def layout(self) -> Layout:
        if self.rotary.layout == "regrouped" and self.config.get("rope_interleave") is False:
            return "half"
        return self.rotary.layout

    def scaling(self, kind: str, found: Mapping[str, Any]) -> RotaryScaling | None:
        """What the parameters say of scaling, with what transformers fills in."""
        whole: Any = self.config.get("max_position_embeddings")
        factor = found.get("factor")
        original: Any = found.get("original_max_position_embeddings") or whole
        match kind:
            case "default":
                return None
            case "linear":
                return RotaryScaling("linear", factor=found["factor"])
            case "proportional":
                return RotaryScaling(
                    "proportional", factor=factor or 1.0, rotated=found.get("partial_rotary_factor") or 1.0
                )
            case "dynamic":
                if found.get("alpha"):  # HunYuan
                    if not str(self.config.get("model_type")).startswith("hunyuan"):
                        raise self.refused("alpha", found["alpha"])
                    return RotaryScaling("ntk", factor=found["alpha"])
                return RotaryScaling("dynamic", factor=found["factor"], original_context_length=whole)
            case "llama3":
                return RotaryScaling(
                    "llama3",
                    factor=found["factor"],
                    original_context_length=original,
                    low_frequency=found["low_freq_factor"],
                    high_frequency=found["high_freq_factor"],
                )
            case "longrope":
                return RotaryScaling(
                    "longrope",
                    factor=max(1.0, whole / original if factor is None else factor),
                    original_context_length=original,
                    attention_factor=found.get("attention_factor"),
                    short_factors=tuple(found["short_factor"]),
                    long_factors=tuple(found["long_factor"]),
                )
            case _:
                return self.yarn(found, factor, original, whole)

    def yarn(self, found: Mapping[str, Any], factor: float | None, original: int, whole: int) -> RotaryScaling:
        factor = whole / original if factor is None else factor
        attention = found.get("attention_factor")
        up, down = found.get("mscale"), found.get("mscale_all_dim")
        if attention is None and up and down and factor > 1:
            attention = (0.1 * up * math.log(factor) + 1.0) / (0.1 * down * math.log(factor) + 1.0)
        elif attention is None and up and down:
            attention = 1.0
        return RotaryScaling(
            "yarn",
            factor=factor,
            original_context_length=original,
            beta_fast=found.get("beta_fast") or 32.0,
            beta_slow=found.get("beta_slow") or 1.0,
            truncate=found.get("truncate", True),
            attention_factor=attention,
        )

    def layer_types(self) -> list[str]:
        """The type of each of the model's layers."""
        types = self.config.get("layer_types")
        pattern = self.config.get("sliding_window_pattern", self.rotary.pattern)
        if types is None and self.rotary.pattern and isinstance(pattern, int) and pattern > 0:
            count = range(1, self.config["num_hidden_layers"] + 1)
            return ["sliding_attention" if i % pattern else "full_attention" for i in count]
        if not isinstance(types, list) or not types:
            raise self.refused("layer_types", types, "config.json doesn't give the type of each layer")
        return types

    def turning(self) -> list[str | None]:
        """For each layer "turning", or None."""
        layers: list[Any]
        if self.rotary.layers == "no_rope_layers":
            layers = self.config.get("no_rope_layers") or []
            if not layers:
                every = self.config.get("no_rope_layer_interval", 4)
                layers = [(i + 1) % every != 0 for i in range(self.config["num_hidden_layers"])]
        elif self.config.get("sliding_window") is None and self.rotary.layers == "sliding if any":
            layers = [True] * self.config["num_hidden_layers"]
        else:
            if "sliding_window" in self.config and self.config["sliding_window"] is None:
                raise self.refused("sliding_window", None)
            layers = [name == "sliding_attention" for name in self.layer_types()]
        return ["turning" if layer else None for layer in layers]

    def by_theta(self) -> RotaryPositions | RotaryByLayer:
        """Layers with bases of their own; 0 for one that doesn't turn."""
        found, thetas = self.flat(), self.config.get("layer_rope_theta")
        if not thetas:
            return self.positions(found)
        kinds = {f"base {theta}".replace(".", ","): {**found, "rope_theta": theta} for theta in thetas if theta}
        names = [f"base {theta}".replace(".", ",") if theta else None for theta in thetas]
        return RotaryByLayer({name: self.positions(each) for name, each in kinds.items()}, names)

    def by_type(self) -> RotaryByLayer:
        """Layers with parameters by their type."""
        config, rotary, types = self.config, self.rotary, self.layer_types()
        given = config.get("rope_parameters")
        sets: dict[str, Any] = {name: dict(value) for name, value in (given or {}).items() if isinstance(value, dict)}
        known = [name for name, value in (given or {}).items() if value is None or isinstance(value, dict)]
        for key, value in (given or {}).items():
            if key not in known and key != "rope_type":
                raise self.refused(key, value, "config.json gives no rope_parameters for each type of layer")
        for name, theta in rotary.thetas.items():  # models that transformers 4 knew, with keys of their own
            found = sets.setdefault(name, {})
            if name == "full_attention":
                found.update(config.get("rope_scaling") or {})
                found.setdefault("rope_theta", config.get("rope_theta", theta))
            found.setdefault("rope_theta", config.get("rope_local_base_freq", theta))
        for name, found in sets.items():
            if name in types and not found.get("truncate", True):  # transformers looks beside the sets
                raise self.refused("truncate", found["truncate"])
        kinds = {name: self.positions(_filled(found, config, rotary)) for name, found in sets.items() if name in types}
        unknown = [name for name in types if name not in kinds and name not in known and "attention" in name]
        if unknown or not kinds:
            raise self.refused("rope_parameters", given, "config.json gives no rope_parameters for each type of layer")
        return RotaryByLayer(kinds, [name if name in kinds else None for name in types])


def _filled(found: dict[str, Any], config: Mapping[str, Any], rotary: Rotary) -> dict[str, Any]:
    """A set of parameters with what stands beside it in config.json."""
    partial = config.get("partial_rotary_factor", rotary.partial)
    if partial is not None:
        found.setdefault("partial_rotary_factor", partial)
    return found
