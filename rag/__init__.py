"""The async RAG core: a `Question` goes in, a stream of `AnswerEvent`s comes out. It knows no platform."""
