// Figures, in the places where they belong. Texts come from the server, so nothing is ever set as HTML.

const byID = (id) => document.getElementById(id)

// make is an element with children, which are elements or texts.
export function make(tag, className, ...children) {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...children)
  return element
}

function set(id, text, warn = false) {
  const element = byID(id)
  if (element.textContent !== text) element.textContent = text
  element.classList.toggle('warn', warn)
}

const number = (n) => Math.round(n).toLocaleString('en-US')
const percent = (r) => (r === null || r === undefined ? '–' : (100 * r).toFixed(r >= 0.9995 || r === 0 ? 0 : 1) + ' %')

export function ms(n) {
  if (n === null || n === undefined) return '–'
  if (n >= 10000) return (n / 1000).toFixed(1) + ' s'
  return (n >= 100 ? n.toFixed(0) : n >= 1 ? n.toFixed(1) : n.toFixed(2)) + ' ms'
}

function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let u = 0
  for (; n >= 1024 && u < units.length - 1; u++) n /= 1024
  return (u ? n.toFixed(1) : n) + ' ' + units[u]
}

// clock is the time of day, to the millisecond.
function clock(text) {
  const t = new Date(text)
  return t.toLocaleTimeString([], { hour12: false }) + '.' + String(t.getMilliseconds()).padStart(3, '0')
}

function fill(id, rows) {
  if (rows.length) byID(id).replaceChildren(...rows)
}

function row(...cells) {
  return make('tr', '', ...cells.map(([className, content]) => make('td', className, content)))
}

export const figures = {
  sample(s) {
    set('t-hit', percent(s.hit_ratio))
    set('t-hit-sub', `${number(s.hits)} hits, ${number(s.misses)} misses, ${number(s.bypasses)} bypasses`)
    set('t-rate', number(s.reads_per_second))
    set('t-p50', ms(s.p50_ms))
    set('t-p99', 'p99 ' + ms(s.p99_ms))
    const c = s.commit_to_cleared_ms
    set('t-clear', c ? ms(c.p50) : '–')
    set('t-clear-sub', c ? `p99 ${ms(c.p99)} of ${number(c.n)} in the last minute` : 'no change in the last minute')
    const age = s.watermark_age_seconds
    set('t-age', age === null ? 'unknown' : age < 10 ? ms(age * 1000) : number(age) + ' s', age === null || age > 5)
    set('t-pool', `${s.pool.in_use} / ${s.pool.max}`)
    set('t-pool-sub', s.pool.waiting ? `${s.pool.waiting} requests wait` : 'to Postgres, in use')
    const lag = s.lag
    set('hop-log', lag.cdc_active === null ? 'not known' : lag.cdc_active ? `cdc streams; ${bytes(lag.slot_bytes)} of WAL to confirm`
      : `cdc is not connected; ${bytes(lag.slot_bytes)} of WAL wait`, lag.cdc_active === false)
    set('hop-invalidator', lag.invalidator_messages === null ? 'not known' : `${number(lag.invalidator_messages)} messages behind`
      + (lag.invalidator_seconds === null ? '' : `, ${lag.invalidator_seconds.toFixed(1)} s`), lag.invalidator_messages > 1000)
    set('hop-cache', age === null ? 'no watermark' : `${ms(age * 1000)} behind Postgres`, age === null || age > 5)
  },

  // change is a row of the table of changes.
  change(c) {
    const buckets = (c.buckets ?? []).map((b) => make('code', 'chip', b))
    if (c.more_buckets) buckets.push(`and ${c.more_buckets} more`)
    const cleared = make('td', '', ...buckets)
    if (!buckets.length) {
      cleared.append('none')
      cleared.title = 'no query reads what has changed'
    }
    return make('tr', 'new',
      make('td', 'nowrap', clock(c.committed)),
      make('td', '', make('span', 'op ' + c.op, c.op), ' ' + c.table),
      make('td', '', make('code', '', c.key ?? '')),
      cleared,
      make('td', 'number', ms(c.ms)),
      make('td', 'wide', make('code', '', c.position)))
  },

  note(text) {
    const cell = make('td', '', text)
    cell.colSpan = 6
    return make('tr', 'new', cell)
  },

  queries(all) {
    fill('top-queries', all.map((q) => row(['', make('code', '', q.name)], ['number', number(q.reads)], ['number', percent(q.hit_ratio)],
      ['number', ms(q.p50_ms)], ['number', ms(q.p99_ms)])))
  },

  cache(stats) {
    const top = stats.top_buckets ?? {}
    const all = new Map()
    for (const [kind, list] of [['hits', top.by_hits ?? top.hits ?? []], ['clears', top.by_clears ?? top.clears ?? []]]) {
      for (const b of list) {
        const name = b.bucket ?? b.tag
        all.set(name, { ...all.get(name), [kind]: b.count ?? b[kind] })
      }
    }
    const busiest = [...all].sort(([, a], [, b]) => (b.hits ?? 0) + (b.clears ?? 0) - (a.hits ?? 0) - (a.clears ?? 0)).slice(0, 20)
    const shown = (n) => (n === undefined ? '–' : number(n))
    fill('top-buckets', busiest.map(([name, b]) => row(['', make('code', '', name)], ['number', shown(b.hits)], ['number', shown(b.clears)])))
  },

  advice(answer) {
    const all = Array.isArray(answer) ? answer : answer.findings ?? answer.recommendations ?? []
    const shown = JSON.stringify(all)
    if (byID('findings').dataset.shown === shown) return
    byID('findings').dataset.shown = shown
    byID('findings').replaceChildren(...(all.length ? all.map(finding) : [make('p', 'empty', 'Nothing to be done.')]))
  },

  health(h) { set('version', h.version ?? '') },
}

function finding(f) {
  const facts = (f.evidence ?? []).map((e) => `${e.name}: ${e.text}`).join(' · ')
  const parts = [make('h3', '', make('span', 'severity ' + f.severity, f.severity), f.title), make('p', 'evidence', facts), make('p', '', f.remedy?.text ?? '')]
  if (f.remedy?.code) parts.push(make('pre', '', make('code', '', f.remedy.code)))
  return make('article', 'finding', ...parts)
}
