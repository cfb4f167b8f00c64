"""How a claimed job runs: its lease, its heartbeat, its outcome."""
