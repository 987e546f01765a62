"""`python -m fluxhero`: the same as the `fluxhero` command."""

from fluxhero.cli import main

if __name__ == "__main__":
    main()
