"""Submit, watch, download, check: what jobs are begun for, as streams of results that can be composed.

`flow` is the engine, `stages` what pipelines are made of, `proofs` looks at what was done, `ready` has whole pipelines.
"""

from zuora_jobs.pipelines.flow import Pipeline, Stage, StageFailed, each, pipeline
from zuora_jobs.pipelines.proofs import Applied, Balance, Deleted, Reversed
from zuora_jobs.pipelines.ready import (
    Zipped,
    apply_credit,
    bulk_pdfs,
    delete_invoices,
    export,
    reverse_invoices,
)
from zuora_jobs.pipelines.stages import download, finished_ok, run

__all__ = [
    "Applied",
    "Balance",
    "Deleted",
    "Pipeline",
    "Reversed",
    "Stage",
    "StageFailed",
    "Zipped",
    "apply_credit",
    "bulk_pdfs",
    "delete_invoices",
    "download",
    "each",
    "export",
    "finished_ok",
    "pipeline",
    "reverse_invoices",
    "run",
]
