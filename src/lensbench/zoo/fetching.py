"""Pretrained weights over the network, with a quick answer where there is none."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from lensbench.errors import WeightsError


class Hosts:
    """Asks each host once whether it answers at all.

    The hub's client retries for some 25 seconds for every file when there is no network, and
    torch waits as long as the system's connection does: for a table of models that is minutes.

    Args:
        timeout_seconds: How long a host may take to answer.
    """

    def __init__(self, timeout_seconds: float = 10) -> None:
        self.timeout_seconds = timeout_seconds
        self._silent: dict[str, str | None] = {}

    def require(self, url: str) -> None:
        """Return if the host of an https address answers, with whatever status.

        Raises:
            WeightsError: It does not.
        """
        host = urlsplit(url).netloc
        if host not in self._silent:
            self._silent[host] = self._ask(url)
        if reason := self._silent[host]:
            raise WeightsError(f"{host} cannot be reached ({reason})")

    def _ask(self, url: str) -> str | None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=self.timeout_seconds):  # noqa: S310 - the libraries' own addresses
                return None
        except HTTPError as error:
            error.close()
            return None
        except URLError as error:
            # The libraries bring certificates of their own; theirs decide, not the system's.
            return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
        except (OSError, HTTPException) as error:  # a proxy may answer anything
            return one_line(error)


def fetch_from_hub(repository: str, filename: str, hosts: Hosts) -> Path:
    """Return the local path of a file of the Hugging Face hub, downloading it if need be.

    A file that is already in the hub's cache is used without asking the network.

    Raises:
        WeightsError: It cannot be had; the message is the reason, in one line.
    """
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, filename, local_files_only=True))
    except LocalEntryNotFoundError:
        if constants.HF_HUB_OFFLINE:
            raise WeightsError(
                f"{repository}/{filename} is not in the cache, and HF_HUB_OFFLINE is set"
            ) from None
    except ValueError as error:
        raise WeightsError(one_line(error)) from error
    hosts.require(hf_hub_url(repository, filename))
    try:
        with _no_progress_bars():
            return Path(hf_hub_download(repository, filename))
    except Exception as error:  # the client's errors have no common class of their own
        raise WeightsError(f"{repository}/{filename}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
