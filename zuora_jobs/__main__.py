"""`python -m zuora_jobs` is `zuora-jobs`."""

from zuora_jobs.cli import main

if __name__ == "__main__":
    main()
