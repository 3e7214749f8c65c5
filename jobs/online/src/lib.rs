//! Latest values in Redis: key layout, codec, put-if-newer function, pipelined reads.
