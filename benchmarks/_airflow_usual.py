"""The trigger that Airflow's providers have: a session for each look, and a pause of the same length after each.

Written after those of the dbt Cloud and Databricks providers, which the issue's users have beside ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from airflow.triggers.base import BaseTrigger, TriggerEvent

ENDS = frozenset({"Completed", "Failed"})


class UsualTrigger(BaseTrigger):
    """Looks at one operation job every *interval* seconds."""

    def __init__(self, url: str, token: str, job: str, interval: float) -> None:
        super().__init__()
        self.url, self.token, self.job, self.interval = url, token, job, interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what it is made of again."""
        return "_airflow_usual.UsualTrigger", {
            "url": self.url,
            "token": self.token,
            "job": self.job,
            "interval": self.interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the job has ended."""
        while True:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session,
                session.get(f"{self.url}/v1/operations/jobs/{self.job}") as response,
            ):
                response.raise_for_status()
                document = await response.json()
            if document["status"] in ENDS:
                yield TriggerEvent(document)
                return
            await asyncio.sleep(self.interval)
