"""`zuora-jobs invoice`: an invoice, as JSON."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from zuora_jobs.cli import exits
from zuora_jobs.cli.jsonl import dumps
from zuora_jobs.client import ZuoraClient
from zuora_jobs.protocol import wire
from zuora_jobs.transport.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zuora_jobs.settings import Settings


async def show_invoice(invoice_id: str, fields: Sequence[str] | None, settings: Settings, timeout: float) -> int:
    """Print an invoice just as Zuora sent it, amounts to the last digit; keep trying for *timeout* seconds."""
    logger = logging.getLogger("zuora_jobs")
    logger.setLevel(min(logger.level, logging.WARNING))  # there is no other sign of life
    patience = Patience(again=timeout, throttled=timeout, briefly=min(timeout, 15.0))
    with exits.interruptible():
        async with ZuoraClient(settings, patience=patience) as client:
            invoice = await client.invoice(invoice_id, fields)
    sys.stdout.write(dumps(wire.to_json(invoice), indent=2) + "\n")
    return exits.ALL_SUCCEEDED
