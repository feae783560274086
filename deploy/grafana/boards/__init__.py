"""The dashboards, in the order in which somebody who looks for a fault opens them."""

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
