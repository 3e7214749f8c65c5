-- What the key $1 stands for on the path $2: the body's hash, and the answer if there is one.
SELECT request, body FROM catalog.reply WHERE key = $1 AND path = $2
