"""`holdfast migrate assess | start | status | verify | cutover | rollback | finish | stop | pause | resume | relay`."""

from holdfast.cli.migrate import begin as begin
from holdfast.cli.migrate import look as look
from holdfast.cli.migrate import order as order
from holdfast.cli.migrate import relay as relay
