"""The dashboards, in the order in which an operator opens them."""

from deploy.grafana.boards import gateway, jobs, money, overview, queues, rabbitmq, statistics, transcoder

BOARDS = (
    overview.BOARD,
    queues.BOARD,
    jobs.BOARD,
    gateway.BOARD,
    money.BOARD,
    transcoder.BOARD,
    statistics.BOARD,
    rabbitmq.BOARD,
)
