-- The backend of a preparation site: articles to read, quizzes to take, and how it went.

-- +goose Up

CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handle     text        NOT NULL UNIQUE CHECK (handle ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name       text        NOT NULL CHECK (name <> ''),
    email      text        NOT NULL UNIQUE CHECK (email LIKE '%_@_%'),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE blogs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title      text        NOT NULL CHECK (title <> ''),
    slug       text        NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    content    text        NOT NULL,
    status     text        NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    tags       text[]      NOT NULL DEFAULT '{}',
    author     text        NOT NULL CHECK (author <> ''),
    views      bigint      NOT NULL DEFAULT 0 CHECK (views >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX blogs_status_created_at ON blogs (status, created_at DESC);
CREATE INDEX blogs_published_created_at ON blogs (created_at DESC) WHERE status = 'published';
CREATE INDEX blogs_tags ON blogs USING gin (tags);
CREATE INDEX blogs_author ON blogs (author);

CREATE TABLE quizzes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title      text        NOT NULL CHECK (title <> ''),
    topic      text        NOT NULL CHECK (topic <> ''),
    questions  int         NOT NULL CHECK (questions > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE attempts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     bigint       NOT NULL REFERENCES users ON DELETE CASCADE,
    quiz_id     bigint       NOT NULL REFERENCES quizzes ON DELETE CASCADE,
    score       numeric(5,2) NOT NULL CHECK (score BETWEEN 0 AND 100),
    started_at  timestamptz  NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK (finished_at >= started_at)
);
CREATE INDEX attempts_user_started_at ON attempts (user_id, started_at DESC);
CREATE INDEX attempts_quiz ON attempts (quiz_id);

-- With the old row in every change, any column can be pinned by a query.
ALTER TABLE users    REPLICA IDENTITY FULL;
ALTER TABLE blogs    REPLICA IDENTITY FULL;
ALTER TABLE quizzes  REPLICA IDENTITY FULL;
ALTER TABLE attempts REPLICA IDENTITY FULL;

COMMENT ON TABLE  users    IS 'People who prepare for something, and some who write about it.';
COMMENT ON TABLE  blogs    IS 'Articles.';
COMMENT ON COLUMN blogs.author IS 'The handle of the one who wrote it.';
COMMENT ON COLUMN blogs.slug   IS 'The article''s name in a URL.';
COMMENT ON TABLE  quizzes  IS 'Sets of questions about one topic.';
COMMENT ON TABLE  attempts IS 'One user taking one quiz, once.';
COMMENT ON COLUMN attempts.score       IS 'Per cent.';
COMMENT ON COLUMN attempts.finished_at IS 'NULL while the attempt is under way.';

-- +goose Down

DROP TABLE attempts;
DROP TABLE quizzes;
DROP TABLE blogs;
DROP TABLE users;
