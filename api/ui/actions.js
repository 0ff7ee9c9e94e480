// What the page can be asked to do: check a query, and clear.
import { make } from './figures.js'

const byID = (id) => document.getElementById(id)

const examples = {
  table: 'public.blogs', query: 'blog_by_id', tag: 'public.blogs:id=42', pattern: 'public.blogs:id=4*', everything: '',
}

// post sends JSON and returns that of the answer.
function post(ask, path, body) {
  return ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
}

function report(r) {
  if (r.refused) return [make('p', 'refused notice', 'Refused: ' + r.refused)]
  const list = make('dl')
  const line = (name, ...content) => list.append(make('dt', '', name), make('dd', '', ...content))
  for (const d of r.depends ?? []) {
    line('cleared by', make('code', '', d.bucket), d.coarse ? ': coarse, any change of these columns of the table clears it' : '')
    line('reads', (d.reads ?? []).join(', ') || 'no column')
  }
  if (!r.depends?.length) line('cleared by', 'nothing: it reads no table')
  for (const w of r.warnings ?? []) line('warning', w)
  if (r.plan) {
    const how = [`cost ${r.plan.cost.toFixed(2)}`]
    if (r.plan.indexes?.length) how.push('index ' + r.plan.indexes.join(', '))
    if (r.plan.seq_scans?.length) how.push('reads all of ' + r.plan.seq_scans.join(', '))
    line('plan', how.join(', '))
  }
  return [list]
}

// confirmed asks, and says whether the answer was yes.
function confirmed(text) {
  const dialog = byID('confirm')
  byID('confirm-text').textContent = text
  dialog.returnValue = 'no'
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
  })
}

export function actions(ask) {
  byID('check-form').addEventListener('submit', async (event) => {
    event.preventDefault()
    try {
      byID('report').replaceChildren(...report(await post(ask, '/performance/check', { sql: byID('sql').value })))
    } catch (error) {
      byID('report').replaceChildren(make('p', 'refused notice', error.message))
    }
  })
  byID('what').addEventListener('change', (event) => {
    byID('which').placeholder = examples[event.target.value]
    byID('which').disabled = event.target.value === 'everything'
  })
  byID('clear-form').addEventListener('submit', async (event) => {
    event.preventDefault()
    const kind = byID('what').value
    const which = kind === 'everything' ? true : byID('which').value.trim()
    if (!which) {
      byID('which').focus()
      return
    }
    const named = kind === 'everything' ? 'everything' : `the ${kind === 'tag' ? 'bucket' : kind} ${which}`
    if (!await confirmed(`Clear ${named}? The reads of it go to Postgres until the cache has filled again.`)) return
    try {
      const answer = await post(ask, '/performance/cache/clear', { [kind]: which })
      const n = answer.cleared ?? answer.buckets
      byID('cleared').textContent = `Cleared ${named}: ${n} bucket${n === 1 ? '' : 's'}.`
    } catch (error) {
      byID('cleared').textContent = 'Not cleared: ' + error.message
    }
  })
}
