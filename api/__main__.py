"""``python -m api``: run the API behind its front, as one process or several."""

from shared.process.part import run_part

if __name__ == "__main__":
    run_part("api.serve", prints=True)
