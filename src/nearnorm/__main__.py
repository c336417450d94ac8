"""The `nearnorm` command, and `python -m nearnorm`."""


def main() -> None:
    """Nothing is imported before it is asked for: `import nearnorm` alone stays cheap."""
    from nearnorm.service.cli.main import main

    main()


if __name__ == "__main__":
    main()
