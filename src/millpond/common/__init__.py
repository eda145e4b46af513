"""The small base that both services and the node agent stand on."""
