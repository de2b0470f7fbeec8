"""Lets ``python -m service`` be the `service` command."""

from service.cli import main

if __name__ == "__main__":
    main(prog_name="service")
