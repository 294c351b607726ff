"""Several keys, or regions, of one provider: the sections [key NAME], and the pools that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import structs

from ai_client.config.keys import Keyed, key
from ai_client.config.quotas import QUOTA
from ai_client.config.schema import WEIGHT, Provider, renamed
from ai_client.config.secrets import Secret
from ai_client.config.values import base_url, integer, optional, optional_name, path, secret, served_models


class PoolKey(Keyed, frozen=True, kw_only=True):
    """A further key of a provider, or its models in another region: calls are shared among all that it has.

    `provider` is filled in. In logs, metrics and limits it is called `PROVIDER.NAME`.
    """

    name: str
    provider: str = key(optional_name(), "", "The provider that it belongs to; nothing: that of [api].")
    weight: int = key(WEIGHT, 1, "Its share of the calls, beside the weights of the provider's other keys.")
    base_url: str | None = key(
        optional(base_url()),
        None,
        "Where the API begins for this key, such as another region's; nothing: as its provider's.",
    )
    api_key: Secret | None = key(
        secret(), None, "The key. A systemd credential, `api_key_file` and the environment precede it.", secret=True
    )
    api_key_file: Path | None = key(optional(path()), None, "A file that holds the key and nothing else.")
    models: tuple[str, ...] | None = key(
        optional(served_models()),
        None,
        "Those of its provider's models that it may be used for, or that have another name there; nothing: all.",
    )
    requests_per_minute: int | None = key(
        optional(QUOTA), None, "Requests a minute; 0 for no limit; nothing: as many as its provider's own key."
    )
    tokens_per_minute: int | None = key(
        optional(QUOTA),
        None,
        "Tokens a minute, in and out; 0 for no limit; nothing: as many as its provider's own key.",
    )
    max_concurrent_requests: int | None = key(
        optional(integer(1, 1_000_000)), None, "Requests under way at once, from this node; nothing: as its provider."
    )


def pool_of(provider: Provider, keys: Sequence[PoolKey]) -> tuple[Provider, ...]:
    """A provider's keys, each presented as a provider: its own first, unless only the others have a key at all."""
    own = (provider,) if provider.api_key is not None or all(each.api_key is None for each in keys) else ()
    return (*own, *(_member(provider, each) for each in keys))


def member_name(provider: str, name: str) -> str:
    """What the key `name` of a provider is called."""
    return f"{provider}.{name}"


def _member(provider: Provider, given: PoolKey) -> Provider:
    models, renames = renamed(given.models or ())
    said = {
        name: value
        for name in ("base_url", "requests_per_minute", "tokens_per_minute", "max_concurrent_requests")
        if (value := getattr(given, name)) is not None
    }
    return structs.replace(
        provider,
        name=member_name(provider.name, given.name),
        api_key=given.api_key,
        api_key_file=given.api_key_file,
        weight=given.weight,
        models=models or provider.models,
        renames=provider.renames if not models else _over(provider, models, renames),
        **said,
    )


def _over(provider: Provider, models: Sequence[str], renames: Mapping[str, str]) -> Mapping[str, str]:
    """A model that the key names plainly is called there as everywhere at its provider."""
    return {model: renames.get(model, provider.upstream_model(model)) for model in models}
