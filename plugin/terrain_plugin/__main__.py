"""`python -m terrain_plugin` is the command `terrain`."""

from terrain_plugin.cli import main

if __name__ == "__main__":
    main()
