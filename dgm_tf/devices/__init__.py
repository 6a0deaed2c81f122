"""What a program runs on: TensorFlow here, replicas, and several processes that work together."""
