// The page: what comes live goes into the tiles, charts and the table of changes; the rest is asked for every few seconds.
import { add, start } from './charts.js'
import { failed, read, Unauthorized } from './stream.js'
import { figures } from './figures.js'
import { actions } from './actions.js'

const byID = (id) => document.getElementById(id)
const pollEvery = 5000
const rowsKept = 200
let token = sessionStorage.getItem('freshet-token') ?? ''
let connection = null
let paused = false

const headers = () => (token ? { Authorization: 'Bearer ' + token } : {})

// ask returns the JSON of an endpoint.
async function ask(path, init = {}) {
  const response = await fetch(path, { cache: 'no-store', ...init, headers: { ...headers(), ...init.headers } })
  if (!response.ok) throw await failed(response)
  return response.json()
}

function say(text, kind = '') {
  const state = byID('state')
  if (state.textContent !== text) state.textContent = text
  state.className = 'state ' + kind
}

// access shows the field for a token, or the button that forgets it.
function access(wanted) {
  byID('give').hidden = !wanted
  byID('forget').hidden = !token
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })

// connect follows the stream until another connection takes its place.
async function connect() {
  connection?.abort()
  const mine = connection = new AbortController()
  while (connection === mine) {
    try {
      await read('/performance/live', headers(), mine.signal, (name, data) => {
        if (connection === mine) on[name]?.(data)
      })
      if (connection === mine) say('the stream has ended; connecting again', 'bad')
    } catch (error) {
      if (connection !== mine) return
      if (error instanceof Unauthorized) {
        say(token ? 'refused: ' + error.message : 'needs the admin token', 'bad')
        access(true)
        byID('token').focus()
        return
      }
      say('not connected: ' + error.message, 'bad')
    }
    await pause(1000)
  }
}

// slowest is that of the changes since the last sample, for the chart.
let slowest = null
let told = { changes: 0, buckets: 0 }

const on = {
  open() {
    say('live', 'live')
    access(!token)
    poll()
  },
  sample(s) {
    say('live', 'live')
    const second = Math.round(Date.parse(s.at) / 1000)
    figures.sample(s)
    const span = s.hits + s.misses + s.bypasses
    const rate = (n) => (span ? s.reads_per_second * n / span : 0)
    add('c-rate', second, rate(s.hits), rate(s.misses + s.bypasses))
    add('c-latency', second, s.p50_ms, s.p99_ms)
    add('c-clear', second, slowest)
    add('c-age', second, s.watermark_age_seconds)
    slowest = null
  },
  applied(step) {
    for (const change of step.changes ?? []) {
      slowest = Math.max(slowest ?? 0, change.ms)
      told.buckets += (change.buckets?.length ?? 0) + (change.more_buckets ?? 0)
    }
    told.changes += (step.changes?.length ?? 0) + (step.more ?? 0)
    if (!paused) show(step)
    byID('lost').hidden = !step.dropped
    byID('lost').textContent = step.dropped ? `${step.dropped} steps came faster than they could be shown, and are missing here. They were applied.` : ''
  },
  queries: figures.queries,
  end() { say('the server has ended the stream; connecting again', 'bad') },
}

// show adds a step to the table, the newest at the top.
function show(step) {
  const table = byID('stream')
  table.querySelector('.empty')?.remove()
  const rows = (step.changes ?? []).map((change) => figures.change(change))
  if (step.more) rows.push(figures.note(`and ${step.more} further changes in the same step`))
  if (step.reset) rows.push(figures.note('Everything was cleared: ' + step.reset))
  table.prepend(...rows.reverse())
  while (table.rows.length > rowsKept) table.deleteRow(-1)
}

// Who listens is told every few seconds, not of each change.
setInterval(() => {
  if (told.changes) byID('told').textContent = `${told.changes} changes, ${told.buckets} buckets cleared`
  told = { changes: 0, buckets: 0 }
}, pollEvery)

let polling
// poll asks for what does not come live. What an older server does not know is left out.
async function poll() {
  clearTimeout(polling)
  const parts = [['/performance/cache/stats', figures.cache], ['/performance/optimization/recommendations', figures.advice], ['/health', figures.health]]
  await Promise.all(parts.map(async ([path, use]) => {
    try {
      use(await ask(path))
    } catch { /* the state of the stream says what is the matter; these come again */ }
  }))
  polling = setTimeout(poll, pollEvery)
}

byID('access').addEventListener('submit', (event) => {
  event.preventDefault()
  token = byID('token').value.trim() || token
  sessionStorage.setItem('freshet-token', token)
  byID('token').value = ''
  say('connecting')
  connect()
})
byID('forget').addEventListener('click', () => {
  sessionStorage.removeItem('freshet-token')
  token = ''
  access(true)
  connect()
})
byID('pause').addEventListener('click', (event) => {
  paused = !paused
  event.target.setAttribute('aria-pressed', String(paused))
})

actions(ask)
start()
connect()
