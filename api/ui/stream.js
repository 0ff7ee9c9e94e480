// Server-sent events over fetch: an EventSource could not send the token.

// Unauthorized says that the server wants another token; its message says why.
export class Unauthorized extends Error {}

// failed is the error of an answer that is a problem (RFC 9457).
export async function failed(response) {
  let detail = `${response.status} ${response.statusText}`
  try {
    detail = (await response.json()).detail || detail
  } catch { /* not a problem document: the status says what there is to say */ }
  return response.status === 401 || response.status === 403 ? new Unauthorized(detail) : new Error(detail)
}

// silence is how long nothing may come, though a sample comes each second: then whoever should send it is gone, or stands still,
// whatever the connection says. What is shown would else look live for ever.
const silence = 5000

// inTime is what a reader reads, unless nothing comes.
function inTime(reader) {
  let timer
  const nothing = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing has come for ${silence / 1000} seconds`)), silence)
  })
  return Promise.race([reader.read(), nothing]).finally(() => clearTimeout(timer))
}

// read calls on(name, data) for each event until the stream ends, and throws what ends it otherwise.
export async function read(url, headers, signal, on) {
  const response = await fetch(url, { headers, signal, cache: 'no-store' })
  if (!response.ok) throw await failed(response)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  on('open')
  try {
    for (let rest = ''; ;) {
      const { value, done } = await inTime(reader)
      if (done) return
      const events = (rest + value).split('\n\n')
      rest = events.pop()
      for (const text of events) {
        const fields = {}
        for (const line of text.split('\n')) {
          const at = line.indexOf(': ')
          fields[line.slice(0, at)] = line.slice(at + 2)
        }
        if (fields.event) on(fields.event, JSON.parse(fields.data))
      }
    }
  } finally {
    reader.cancel().catch(() => { /* it has failed already */ })
  }
}
