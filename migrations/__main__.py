"""``python -m migrations``: bring the database to this version's schema."""

from shared.process.part import run_part

if __name__ == "__main__":
    run_part("migrations.migrate")
