# The IP address (typically localhost) and port that the service should listen on
bind = '127.0.0.1:8001'

# Number of processes to spawn: 2n+1 where n is the number of cores
workers = 5

# Number of threads per process
threads = 3

# Seconds until a request is taken to be lost
timeout = 120

# Requests after which a worker is respawned
max_requests = 5000
max_requests_jitter = 500
