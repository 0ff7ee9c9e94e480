/* global uPlot */
// Four small charts of the last two minutes, a point each second.

const points = 120
const definitions = {
  'c-rate': { series: ['c1', 'c3'] },
  'c-latency': { series: ['c1', 'c3'] },
  'c-clear': { series: ['c2'], points: true },
  'c-age': { series: ['c2'] },
}
const charts = {}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()

function width(element) { return Math.max(200, element.clientWidth) }

function options(id, element) {
  const { series, points: dots } = definitions[id]
  const axis = { stroke: color('soft'), grid: { stroke: color('line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' }
  return {
    width: width(element), height: 150, legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0],
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1 || 0, Number.EPSILON * 100, high > 0 ? 0 : 1)] } },
    axes: [
      { ...axis, size: 24, space: 70, values: (_, all) => all.map((s) => new Date(s * 1000).toLocaleTimeString([], { hour12: false })) },
      { ...axis, size: 52, space: 30, values: (_, all) => all.map((v) => (v >= 10000 ? v / 1000 + 'k' : String(+v.toFixed(4)))) },
    ],
    series: [{}, ...series.map((name) => ({
      stroke: color(name), width: 2, spanGaps: !dots, points: { show: Boolean(dots), size: 5, fill: color(name) },
    }))],
  }
}

// draw makes the charts, and again when the colours have changed.
function draw() {
  for (const id of Object.keys(definitions)) {
    const element = document.getElementById(id)
    const data = charts[id]?.data ?? [[], ...definitions[id].series.map(() => [])]
    charts[id]?.plot.destroy()
    charts[id] = { data, plot: new uPlot(options(id, element), data, element) }
  }
}

// add adds a point; null is a gap.
export function add(id, second, ...values) {
  const chart = charts[id]
  if (!chart) return
  const columns = [second, ...values]
  chart.data.forEach((column, i) => {
    column.push(columns[i])
    if (column.length > points) column.shift()
  })
  chart.plot.setData(chart.data)
}

export function start() {
  draw()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
  new ResizeObserver(() => {
    for (const id of Object.keys(charts)) {
      charts[id].plot.setSize({ width: width(document.getElementById(id)), height: 150 })
    }
  }).observe(document.querySelector('.charts'))
}
