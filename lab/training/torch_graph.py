"""A step as CUDA graphs: recorded once for each shape of batch, then given to the GPU whole."""

from collections import Counter

import torch


class Graphs:
    """Calls `compute` with the tensors of a batch: the first times as it is, then as a recording that the GPU repeats.

    An epoch's last batch is smaller and growing images grow, so there is a graph for each shape. All share one stream and one
    pool of memory, since only one of them runs at a time. What `compute` returns are the same tensors at every call of a shape.
    """

    WARM_UP = 3  # calls before a graph is recorded, in which libraries choose their kernels

    def __init__(self, compute):
        self.compute = compute
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self.graphs, self.calls = {}, Counter()  # by shape of the batch

    def __call__(self, *batch):
        shape = tuple(batch[0].shape)
        self.calls[shape] += 1
        if self.calls[shape] <= self.WARM_UP:
            return self._warm_up_on_side_stream(*batch)
        if shape not in self.graphs:
            self.graphs[shape] = self._record(*(part.clone() for part in batch))
        graph, inputs, outputs = self.graphs[shape]
        for buffer, value in zip(inputs, batch, strict=True):
            buffer.copy_(value, non_blocking=True)
        graph.replay()
        return outputs

    def _record(self, *inputs):
        """Return (graph, the tensors it reads, the tensors it leaves); recording does not compute."""
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what other threads ask of the device meanwhile (Keras reads logs in threads) must not end the recording.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            outputs = self.compute(*inputs)
        return graph, inputs, outputs

    def _warm_up_on_side_stream(self, *batch):
        """Compute on the stream on which graphs are recorded, which their warm-up needs."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.compute(*batch)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs
