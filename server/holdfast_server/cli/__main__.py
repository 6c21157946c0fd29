"""`python -m holdfast_server.cli`: the command `holdfast`."""

from holdfast_server.cli import main

if __name__ == "__main__":
    main()
