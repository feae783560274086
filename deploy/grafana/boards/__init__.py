"""The dashboards, in the order in which an operator opens them."""

from deploy.grafana.boards import actors, gateway, overview, queues, rabbitmq, settlement, statistics, transcoder

BOARDS = (
    overview.BOARD,
    queues.BOARD,
    actors.BOARD,
    gateway.BOARD,
    settlement.BOARD,
    transcoder.BOARD,
    statistics.BOARD,
    rabbitmq.BOARD,
)
