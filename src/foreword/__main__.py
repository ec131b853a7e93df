"""``python -m foreword`` is ``foreword``."""

from foreword.cli import main

if __name__ == "__main__":
    main()
