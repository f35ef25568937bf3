"""`python -m zuora_jobs.integrations.opentelemetry > dashboard.json`."""

import sys

from zuora_jobs.integrations.opentelemetry.dashboard import dashboard

sys.stdout.write(dashboard())
