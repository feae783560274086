"""`nouba transcoder lint`: does a lesson keep the rules?"""

import click


@click.command()
@click.argument("master")
def lint(master: str) -> None:
    """x"""
