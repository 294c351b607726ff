"""`python -m ai_client`: the command line, where its program is not on the PATH."""

from ai_client.cli.main import main

if __name__ == "__main__":
    main()
