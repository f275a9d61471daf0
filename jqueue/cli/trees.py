"""`tree`: a job, the jobs that it submitted, those that they submitted …"""

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.jobids import JOB_ID
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json
from jqueue.console.trees import nested, put_family, walk


@command("tree")
@show_secrets_option
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def tree(settings: Settings, *, id: int) -> None:
    """Show a job and all that it submitted; with --json nested by `children`.

    \b
    Example:
      jqueue tree 17
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with settings.open() as queue:
        family = list(walk(queue.job(id), lambda ids: queue.jobs(ids=ids, archived=True)))
    if settings.as_json:
        put_json(nested(family))
    else:
        put_family(family)
